% def code(name, text):
<pre tabindex="0" id="{{name}}"><code>{{text}}</code></pre>
% end
% def meanings(caption, rows):
<div class="scroll">
<table>
<caption>{{caption}}</caption>
<thead><tr><th scope="col">Value</th><th scope="col">Meaning</th><th scope="col">Action</th></tr></thead>
% for value, each in rows.items():
<tr>
<th scope="row"><code>{{value}}</code></th>
<td>{{!marked(each.meaning)}}</td>
<td>{{!marked(each.action)}}</td>
</tr>
% end
</table>
</div>
% end
<section>
<h2 id="first-call">{{sections["first-call"]}}</h2>
<p>The operator gives you an API key, which starts with <code>nt_</code>. Create a payment request:</p>
% code("create-call", create_call)
<p>Nodetill returns 201 and the payment request. The price holds until <code>expires_at</code>. Times are text
in UTC, and only <code>price_timestamp</code> is a number, in seconds since 1970. <code>price_btc</code> is the price
of one bitcoin.</p>
% code("created", created)
<p class="note">This example has an address of a test network. Send no money to it.</p>
<p>Store <code>payment_request_id</code> with your order. Read the request at any time:</p>
% code("read-call", read_call)
</section>
<section>
<h2 id="checkout">{{sections["checkout"]}}</h2>
<p>Redirect the customer to <code>checkout_url</code>. The page shows the amount, the address and a QR code, and
follows the payment by itself. It shows your <code>label</code>, and links back to <code>redirect_url</code>. Do not
deliver when the customer comes back, because anybody can open <code>redirect_url</code>. Deliver when the status is
<code>confirmed</code>.</p>
<p>You can also build your own page. Show <code>amount_btc</code> and <code>address</code>, or
<code>payment_uri</code> as a link. Your page may show the QR code at <code>checkout_url</code> with
<code>/qr.svg</code> behind it. It needs no key.</p>
</section>
<section>
<h2 id="webhooks">{{sections["webhooks"]}}</h2>
<p>The operator sets the URL of your webhooks, and gives you a secret, which starts with <code>whsec_</code>. Nodetill
posts each event to that URL, with these headers and this body:</p>
% code("webhook-headers", webhook_headers)
% code("event", event)
<p>Answer with any 2xx within 10 seconds. Otherwise Nodetill sends the event again after 5 s, 30 s, 2 min, 10 min,
30 min, 2 h, 5 h, 10 h and 14 h. An event can come twice, so ignore a <code>webhook-id</code> that you have already
processed. <code>data</code> is the request at the time of the event.</p>
</section>
<section>
<h2 id="verify">{{sections["verify"]}}</h2>
<p>Anybody can post to your URL, so check the signature of each webhook. The signature follows Standard Webhooks
(https://www.standardwebhooks.com), which has libraries for most languages. Without a library, these lines are enough.
Give them the body as it came, because parsed and written JSON has other bytes.</p>
% for key, (name, text) in verifiers.items():
<h3>{{name}}</h3>
% code("verify-" + key, text)
% end
</section>
<section>
<h2 id="statuses">{{sections["statuses"]}}</h2>
% meanings("Values of status", statuses)
<p>Two fields stand beside the status. <code>overpaid_sats</code> is the surplus, if the customer paid too much.
<code>late</code> is true if the whole amount came after the price had expired. Late money counts only after you
accept it (<a href="#acceptLatePayment">Accept a late payment</a>). Otherwise a customer could wait, and pay only if
bitcoin fell. The call returns the old status. The new status follows shortly, with its event.</p>
<p>Refund only confirmed money. Until then a double-spend can take it back.</p>
<p>If a customer chooses another way to pay, cancel the request
(<a href="#cancelPayment">Cancel a payment request</a>). It expires at once. Money that still comes is late.</p>
</section>
<section>
<h2 id="events">{{sections["events"]}}</h2>
% meanings("Values of type", events)
<p>The events of one request come in their order.</p>
</section>
<section>
<h2 id="links">{{sections["links"]}}</h2>
<p>A link is for an invoice sent by email, a donation or a price tag. It has no price. Each press of
"Pay" on its page makes a payment request with a price and an address of its own.</p>
% code("link-call", link_call)
<p>Send the payer <code>url</code>, or print <code>url</code> as a QR code (<a href="#getLinkQrCode">QR code of a
link</a>). A single-use link can be paid in parts. Each part counts at the price of its own request, and the page asks
for the rest. Anybody can pay a link with <code>is_reusable</code>, any number of times. Without
<code>amount_fiat</code>, the payer chooses the amount.</p>
% meanings("Values of status of a link", link_statuses)
<p>The events of a link's requests have <code>link_id</code>. A single-use link has two events of its own, whose
<code>data</code> is the link:</p>
% meanings("Values of type of a link's event", link_events)
<p><b>For an invoice, deliver on <code>link.paid</code>, not on <code>payment.confirmed</code>.</b> A confirmed request
can be a part, and an earlier part can still be unconfirmed. If the request of a part expires, the part counts, and the
page asks for the rest. A link with <code>is_reusable</code> has no <code>link.paid</code>, so deliver on
<code>payment.confirmed</code>.</p>
</section>
<section>
<h2 id="idempotency">{{sections["idempotency"]}}</h2>
<p>Send an <code>Idempotency-Key</code> with each new request, such as the number of your order. If the network fails,
repeat the call with the same key and the same body. All these calls create one request. A repeat returns 200 and
that request, as it is now.</p>
<p>Nodetill keeps a key for ever, with its request. A key with a different body gets 422
(<a href="#problem-idempotency-key-reused">idempotency-key-reused</a>). If the request of the key has expired and no
money came for it, the key gets 422, too (<a href="#problem-idempotency-key-expired">idempotency-key-expired</a>). For
another attempt at the same order, send a new key, such as <code>order-4711-2</code>. If any money came, even too late
or too little, the repeat returns 200 and that request. So nobody pays twice.</p>
<p>A new link takes an <code>Idempotency-Key</code> in the same way. Its key never expires.</p>
</section>
<section>
<h2 id="problems">{{sections["problems"]}}</h2>
<p>An error is JSON (RFC 9457, <code>application/problem+json</code>). It lists every fault of the request at once,
and the allowed values. The first call with the currency <code>eur</code> and 1000 confirmations gets:</p>
% code("problem", problem)
<p>Your program can rely on <code>type</code> and <code>status</code>. <code>title</code> and <code>detail</code> are
for people. The types are:</p>
<div class="scroll">
<table>
<caption>type, without urn:nodetill:problem:</caption>
<thead><tr><th scope="col">Type</th><th scope="col">Meaning</th><th scope="col">Cure</th></tr></thead>
% for name, kind in problem_types.items():
<tr id="problem-{{name}}">
<th scope="row"><code>{{name}}</code> {{kind.status}}</th>
<td><b>{{kind.title}}.</b> {{!marked(kind.meaning)}}</td>
<td>{{!marked(kind.cure)}}</td>
</tr>
% end
</table>
</div>
</section>
<section>
<h2 id="testing">{{sections["testing"]}}</h2>
<p>Nodetill has no test mode, because a bitcoind of a test network is a better test. Two networks need no money:</p>
<ul>
<li><b>regtest</b>, on your own machine. Clone the repository of Nodetill and run <code>make demo</code>. It starts a
bitcoind, both servers and a shop. It prints the address of the API, a key, and the commands that pay a request and
mine a block. A payment then takes seconds.</li>
<li><b>signet</b>, a public test network. Ask the operator for a second Nodetill on signet. A faucet gives you coins,
and a wallet with signet pays like a real one. A block takes about ten minutes.</li>
</ul>
<p>Try these cases: pay, pay a part, pay too much, and pay after the price has expired (create the request with
<code>"expires_in": 60</code>). Repeat a webhook, which must not count twice
(<a href="#redeliverEvent">Send a webhook again</a>).</p>
</section>
