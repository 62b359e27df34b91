<div class="scroll" role="region" aria-label="{{caption}}" tabindex="0">
<table class="payments">
<caption class="unseen">{{caption}}</caption>
<thead>
<tr><th scope="col" class="when">Created (UTC)</th><th scope="col">Payment</th><th scope="col" class="seller">Seller</th><th scope="col" class="number">Amount</th><th scope="col" class="number">Received</th><th scope="col" class="standing">Status</th>\\
% if decide:
<th scope="col" class="decide"><span class="unseen">Decide</span></th>\\
% end
</tr>
</thead>
<tbody>
% for row in rows:
% payment = row.payment
% id = payment["payment_request_id"]
<tr id="{{prefix}}{{id}}">
<td class="when"><time datetime="{{payment['created_at']}}">{{payment["created_at"][:10]}} {{payment["created_at"][11:16]}}</time></td>
<td><a class="id" href="{{root}}operator/payments/{{id}}">{{id[:11]}}…</a>\\
% if payment["order_id"]:
<span class="note order" dir="auto">{{payment["order_id"]}}</span>\\
% end
% if payment["note"]:
<span class="note" dir="auto">{{payment["note"][:120]}}</span>\\
% end
</td>
<td class="seller">{{payment["seller_id"]}}</td>
<td class="number">{{money(payment["amount_fiat"], payment["currency"])}}<br><small>{{bitcoin(payment["amount_sats"])}}</small></td>
<td class="number">\\
% if payment["received_sats"]:
{{bitcoin(payment["received_sats"])}}\\
% if payment["overpaid_sats"]:
<br><small>{{bitcoin(payment["overpaid_sats"])}} overpaid</small>\\
% elif payment["due_sats"]:
<br><small>{{bitcoin(payment["due_sats"])}} missing</small>\\
% end
% end
</td>
<td class="standing">\\
% include("operator_status.tpl", payment=payment)
</td>
% if decide:
<td class="decide">
% if row.late:
<p class="worth">{{row.late.replace(" %", "\u00a0%")}}</p>
% end
% if row.failed:
% include("operator_failed.tpl", failed=row.failed, to=to)
% end
% include("operator_decide.tpl", payment=payment, revision=row.revision, is_accepted=row.is_accepted, to=to)
</td>
% end
</tr>
% end
</tbody>
</table>
</div>
