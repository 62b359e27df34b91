% rebase("operator_layout.tpl", title=link["title"], page="Link", live=True, scripts=("share.js",))
% id = link["link_id"]
<h1 dir="auto">{{link["title"]}}</h1>
% include("operator_notice.tpl", to="")
<section id="share" data-live aria-label="Ask the customer">
% if link["status"] in ("open", "overdue"):
% include("operator_share.tpl", url=link["url"], picture=f"{root}l/{id}/qr.svg", pictured="QR code of the link's page, for paper", what=link["title"])
% end
</section>
<section id="facts" class="card" data-live aria-label="Facts">
<p class="standing"><span class="status {{link['status']}}">{{link["status"]}}</span> \\
% if link["is_reusable"]:
<b>{{money(link["paid_fiat"], link["currency"])}}</b> <span>received so far</span>\\
% else:
<b>{{money(link["paid_fiat"], link["currency"])}}</b> <span>{{"of " + money(link["amount_fiat"], link["currency"]) if link["amount_fiat"] else "paid"}}</span>\\
% end
</p>
% if link["late_sats"]:
<div class="attention">
<h2>Late money under review</h2>
<p>{{bitcoin(link["late_sats"])}} came too late to count. Open the payment, then accept the money, or send it back and mark the payment as done.\\
% if not link["is_reusable"]:
 Until then nobody can pay the rest.\\
% end
</p>
% for each in late:
<p class="worth"><a href="{{root}}operator/payments/{{each.reference}}">{{each.reference[:11]}}…</a>, {{bitcoin(each.late_sats)}}. {{each.sentences().replace(" %", "\u00a0%")}}</p>
% end
</div>
% end
<dl class="facts">
% if link["description"]:
<div><dt>Description</dt> <dd class="text" dir="auto">{{link["description"]}}</dd></div>
% end
% if link["order_id"]:
<div><dt>Order</dt> <dd dir="auto">{{link["order_id"]}}</dd></div>
% end
% if link["note"]:
<div><dt>Note</dt> <dd class="text" dir="auto">{{link["note"]}}</dd></div>
% end
<div><dt>Seller</dt> <dd>{{link["seller_id"]}}</dd></div>
<div><dt>Kind</dt> <dd>{{"Reusable: anybody may pay it, any number of times" if link["is_reusable"] else "An invoice: one payer, once"}}</dd></div>
<div><dt>Amount</dt> <dd>{{money(link["amount_fiat"], link["currency"]) if link["amount_fiat"] else "The payer chooses it, in " + link["currency"]}}\\
% for name, words in (("minimum", "at least"), ("maximum", "at most")):
% if link[name]:
, {{words}} {{money(link[name], link["currency"])}}\\
% end
% end
</dd></div>
% if link["suggested"]:
<div><dt>Suggested</dt> <dd>{{", ".join(money(each, link["currency"]) for each in link["suggested"])}}</dd></div>
% end
% if link["remaining_fiat"] and link["status"] in ("open", "overdue", "closed"):
<div><dt>Remaining</dt> <dd>{{money(link["remaining_fiat"], link["currency"])}}</dd></div>
% end
% for name, words in (("due_at", "Due"), ("created_at", "Created"), ("paid_at", "Paid"), ("closed_at", "Closed")):
% if link[name]:
<div><dt>{{words}}</dt> <dd><time datetime="{{link[name]}}">{{link[name][:10]}} {{link[name][11:19]}}</time></dd></div>
% end
% end
% if link["thanks"]:
<div><dt>Thanks</dt> <dd class="text" dir="auto">{{link["thanks"]}}</dd></div>
% end
% if link["redirect_url"]:
<div><dt>Return link</dt> <dd>{{link["redirect_url"]}}</dd></div>
% end
<div><dt>Id</dt> <dd class="code">{{id}}</dd></div>
<div><dt>Page</dt> <dd><a href="{{link['url']}}" rel="noreferrer">{{link["url"]}}</a></dd></div>
</dl>
% if is_closable:
<details class="confirm">
<summary>Close this link…</summary>
<form method="post" action="{{root}}operator/links/{{id}}/close">
<p>Nobody can pay it any more. Money that came counts as before. You cannot undo this.</p>
<button class="main">Close the link</button>
</form>
</details>
% end
</section>
<section id="payments" data-live aria-labelledby="payments-title">
<h2 id="payments-title">Payments</h2>
% if link["payments"]:
<div class="scroll" role="region" aria-label="Table of payments" tabindex="0">
<table class="links">
<caption class="unseen">Payments</caption>
<thead><tr><th scope="col">Payment</th><th scope="col" class="number">Asked for</th><th scope="col" class="number">Counts</th><th scope="col" class="number">Received</th><th scope="col">Status</th></tr></thead>
<tbody>
% for each in link["payments"]:
<tr id="{{each['payment_request_id']}}">
<td class="id"><a href="{{root}}operator/payments/{{each['payment_request_id']}}">{{each["payment_request_id"][:11]}}…</a></td>
<td class="number" data-label="Asked for">{{money(each["amount_fiat"], link["currency"])}}</td>
<td class="number" data-label="Counts">{{money(each["paid_fiat"], link["currency"])}}</td>
<td class="number" data-label="Received">{{bitcoin(each["received_sats"])}}</td>
<td class="standing"><span class="status {{each['status']}}">{{each["status"]}}</span>\\
% if each["late"] and each["status"] == "expired":
 <span class="late">late</span>\\
% end
</td>
</tr>
% end
</tbody>
</table>
</div>
% if link["payment_count"] > len(link["payments"]):
<p class="note">These are the newest {{len(link["payments"])}} of {{"{:,}".format(link["payment_count"])}}.</p>
% end
% else:
<p class="none">No money yet.</p>
% end
<p class="note"><a href="{{root}}?link_id={{id}}">All requests of this link</a>, also those to which nothing came. All times are UTC.</p>
</section>
