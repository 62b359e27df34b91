% rebase("operator_layout.tpl", title=payment["payment_request_id"], page="Payment", live=True, scripts=("share.js",))
% id = payment["payment_request_id"]
<h1 class="id">{{id}}</h1>
% include("operator_notice.tpl", to=to)
<section id="ask" data-live aria-label="Ask the customer">
% if is_payable and is_dropped:
<div class="attention">
<h2>The network has dropped a transaction</h2>
<p>Ask for no second payment yet. The transaction may still arrive, until the customer's wallet shows it as cancelled.</p>
</div>
% elif is_payable:
% include("operator_share.tpl", url=payment["checkout_url"], picture=f"{root}pay/{id}/qr.svg?sats={payment['due_sats']}", pictured="QR code of the payment, for a wallet", what="payment")
% end
</section>
<section id="facts" class="card" data-live aria-label="Facts">
<p class="standing">\\
% include("operator_status.tpl", payment=payment)
 <b>{{money(payment["amount_fiat"], payment["currency"])}}</b> <span>{{bitcoin(payment["amount_sats"])}}</span></p>
% if needs:
<div class="attention">
% for title, advice in needs:
<h2>{{title}}</h2>
<p>{{advice}}</p>
% end
% if late:
<p class="worth">{{late.replace(" %", "\u00a0%")}}</p>
% end
% if failed:
% include("operator_failed.tpl", failed=failed, to=to)
% end
<div class="decide">
% include("operator_decide.tpl", payment=payment, revision=revision, is_accepted=is_accepted, to=to, most_comment=most_comment)
</div>
</div>
% end
<dl class="facts">
% if payment["link_id"]:
<div><dt>Link</dt> <dd class="code"><a href="{{root}}operator/links/{{payment['link_id']}}">{{payment["link_id"]}}</a></dd></div>
% end
% if payment["order_id"]:
<div><dt>Order</dt> <dd class="text" dir="auto">{{payment["order_id"]}}</dd></div>
% end
% if payment["note"]:
<div><dt>Note</dt> <dd class="text" dir="auto">{{payment["note"]}}</dd></div>
% end
<div><dt>Seller</dt> <dd>{{payment["seller_id"]}}</dd></div>
<div><dt>Received</dt> <dd>{{bitcoin(payment["received_sats"])}}\\
% if payment["due_sats"] and payment["received_sats"]:
, {{bitcoin(payment["due_sats"])}} missing\\
% end
% if payment["overpaid_sats"]:
, {{bitcoin(payment["overpaid_sats"])}} overpaid\\
% end
</dd></div>
<div><dt>Confirmations</dt> <dd>{{payment["confirmations"]}} of {{payment["confirmations_required"]}}</dd></div>
<div><dt>Price</dt> <dd>{{money(payment["price_btc"], payment["currency"])}} per bitcoin <small>({{payment["price_source"]}})</small></dd></div>
<div><dt>Price valid until</dt> <dd><time datetime="{{payment['expires_at']}}">{{moment(row.expires_at)}}</time></dd></div>
<div><dt>Address</dt> <dd class="code">{{payment["address"]}}</dd></div>
<div><dt>Checkout page</dt> <dd><a href="{{payment['checkout_url']}}" rel="noreferrer">{{payment["checkout_url"]}}</a></dd></div>
% if payment["label"]:
<div><dt>Label</dt> <dd dir="auto">{{payment["label"]}}</dd></div>
% end
% if payment["redirect_url"]:
<div><dt>Return link</dt> <dd>{{payment["redirect_url"]}}</dd></div>
% end
% for name, value in payment["metadata"].items():
<div><dt dir="auto">{{name}}</dt> <dd class="text" dir="auto">{{value}}</dd></div>
% end
</dl>
% if is_cancelling:
<p class="said">The daemon will cancel it, unless money has come.</p>
% elif is_cancellable:
<details class="confirm">
<summary>Cancel this request…</summary>
<form method="post" action="{{root}}operator/payments/{{id}}/cancel">
<p>Its price ends at once. Money that still comes is late and waits for your decision. You cannot undo this.</p>
<button class="main">Cancel the request</button>
</form>
</details>
% end
</section>
<section id="transactions" data-live aria-labelledby="transactions-title">
<h2 id="transactions-title">Transactions</h2>
% if payment["transactions"]:
<div class="scroll" role="region" aria-label="Table of transactions" tabindex="0">
<table class="transactions">
<caption class="unseen">Transactions</caption>
<thead><tr><th scope="col">First seen (UTC)</th><th scope="col">Transaction</th><th scope="col" class="number">Amount</th><th scope="col">State</th></tr></thead>
<tbody>
% for part in payment["transactions"]:
<tr id="{{part['txid']}}-{{part['vout']}}">
<td class="when"><time datetime="{{part['first_seen_at']}}">{{part["first_seen_at"][:10]}} {{part["first_seen_at"][11:19]}}</time></td>
<td class="code">\\
% include("operator_txid.tpl", txid=part["txid"], link=link_to(part["txid"]))
:{{part["vout"]}}</td>
<td class="number">{{bitcoin(part["amount_sats"])}}</td>
<td><span class="state {{part['state']}}">{{part["state"]}}</span>\\
% if part["block_height"] is not None:
 in block {{part["block_height"]}}, {{part["confirmations"]}} deep\\
% end
% if part["replaced_by"]:
 by <span class="code">\\
% include("operator_txid.tpl", txid=part["replaced_by"], link=link_to(part["replaced_by"]))
</span>\\
% end
</td>
</tr>
% end
</tbody>
</table>
</div>
% else:
<p class="none">No transaction yet.</p>
% end
</section>
<section id="timeline" data-live aria-labelledby="timeline-title">
<h2 id="timeline-title">Timeline</h2>
<ol class="timeline">
% for number, each in enumerate(moments):
<li id="moment-{{number}}">
<time datetime="{{each.at.isoformat(timespec='seconds')}}">{{moment(each.at)}}</time>
<p>{{each.words}}</p>
% if each.comment:
<p class="comment" dir="auto">{{each.comment}}</p>
% end
% if each.messages:
<ul class="deliveries">
% for message in each.messages:
<li>
% if message.delivered_at:
{{message.channel}}, delivered {{moment(message.delivered_at)}}
% elif message.failed_at:
<span class="trouble">{{message.channel}}, given up {{moment(message.failed_at)}} after {{message.attempts}} attempts</span>
% elif message.superseded_by:
{{message.channel}}, dropped after {{message.attempts}} attempts, because the shop accepted a later event
% else:
{{message.channel}}, waiting{{f" after {message.attempts} attempts" if message.attempts else ""}}
% end
% if has_many_endpoints and message.channel == "webhook":
<small class="code">{{message.recipient}}</small>
% end
% if message.last_error and not message.delivered_at:
<span class="why" dir="auto">{{message.last_error}}</span>
% end
% if message.id in sent_again:
<span class="said">The daemon will send it again.</span>
% elif message.delivered_at or message.failed_at or message.superseded_by:
<form method="post" action="{{root}}operator/payments/{{id}}/events/{{message.event_reference}}/{{message.place}}">
<input type="hidden" name="to" value="{{to}}">
<button>Send again<span class="unseen"> the {{message.channel}} of {{each.words}}</span></button>
</form>
% end
</li>
% end
</ul>
% end
</li>
% end
</ol>
% if undo_at:
<form method="post" action="{{root}}operator/undo">
<input type="hidden" name="at" value="{{undo_at}}">
<input type="hidden" name="payment" value="{{id}}">
<input type="hidden" name="to" value="{{to}}">
<button>Undo "Mark as done"</button>
</form>
% end
<p class="note">All times are UTC.</p>
</section>
