% rebase("operator_layout.tpl", title="Sellers", page="Sellers", live=True)
<h1>Sellers</h1>
% to = "operator/sellers"
% include("operator_notice.tpl", to=to)
<section id="undelivered" data-live aria-label="Undeliverable messages">
% if failed:
<h2>Undeliverable messages</h2>
<p class="note">Nodetill gave up after many attempts. Correct the cause, then send the messages again.\\
% if len(failed) == most:
 These are the newest {{most}}; the others are in the <a href="{{root}}?needs=undelivered">list of their payments</a>.\\
% end
</p>
<ul class="failures">
% for each in failed:
<li id="failed-{{each.event_reference}}-{{each.place}}"><a class="id" href="{{root}}operator/payments/{{each.reference}}">{{each.reference[:11]}}…</a> {{each.event_type.removeprefix("payment.")}}
% include("operator_failed.tpl", failed=[each], to=to)
</li>
% end
</ul>
% else:
<p class="none">Emails and webhooks: none has failed.</p>
% end
</section>
<section id="sellers" data-live aria-labelledby="sellers-title">
<h2 id="sellers-title">Sellers and endpoints</h2>
% if sellers:
<div class="scroll" role="region" aria-label="Table of sellers" tabindex="0">
<table class="sellers">
<caption class="unseen">Sellers</caption>
<thead><tr><th scope="col">Seller</th><th scope="col">Webhook endpoint</th><th scope="col">Last request (UTC)</th><th scope="col" class="number">Webhooks waiting</th><th scope="col" class="number">Given up</th></tr></thead>
<tbody>
% for each in sellers:
<tr id="seller-{{each.id}}">
<td><a href="{{root}}operator/sellers/{{each.id}}">{{each.id}}</a>\\
% if each.removed_at:
 <span class="status">removed</span>\\
% end
% if each.name or each.email:
<br><small dir="auto">{{each.name}} {{each.email}}</small>\\
% end
</td>
<td class="code">{{each.webhook_url or "none"}}{{f" and {each.webhook_count - 1} more" if each.webhook_count > 1 else ""}}</td>
<td class="when">{{moment(each.last_request_at)[:16] if each.last_request_at else "none"}}</td>
<td class="number">{{f"{each.waiting:,} waiting" if each.waiting else "–"}}</td>
<td class="number">{{f"{each.given_up:,} given up" if each.given_up else "–"}}</td>
</tr>
% end
</tbody>
</table>
</div>
% else:
<p class="none">No seller yet: <code>{{command}} seller add SHOP</code> adds one.</p>
% end
</section>
