% rebase("till_layout.tpl", title="Till", is_polling=not is_final)
% is_over = not facts.payable_sats and not view.is_settled
<main id="sale" aria-live="polite" class="sale {{view.tone}}" data-status="{{root}}pay/{{facts.reference}}/status" data-tag="{{tag}}" data-now="{{now}}"\\
% if is_final:
 data-final\\
% end
>
<p class="amount">{{amount}}</p>
% if view.is_settled:
<svg class="tick" viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="11"/><path d="M6.5 12.5l4 4 7.5-8.5"/></svg>
% end
<h1 class="{{'unseen' if view.scene == 'new' else ''}}">{{heading}}</h1>
% if sentence:
<p>{{sentence}}</p>
% end
% if worth:
<p>{{worth}}</p>
% end
% if view.is_settled and facts.overpaid_sats:
<p>{{bitcoin(facts.overpaid_sats)}} too much.</p>
% end
% if facts.payable_sats:
% if view.is_folded:
<details {{"open" if is_unfolded else ""}}>
<summary>The wallet shows the first as cancelled: pay again</summary>
% if not is_unfolded:
<noscript><p><a href="?again=1">Keep this part open</a></p></noscript>
% end
% end
<img class="qr" src="{{root}}pay/{{facts.reference}}/qr.svg?sats={{facts.payable_sats}}" alt="QR code of the payment" width="320" height="320">
<p>{{bitcoin(facts.payable_sats)}}</p>
<p class="quiet"><span id="left">Time left</span> <b id="clock" role="timer" aria-labelledby="left" aria-live="off" data-until="{{facts.expires_at.isoformat(timespec="milliseconds")}}">{{view.time_left}}</b></p>
% if view.is_folded:
</details>
% end
% end
<p class="next"><a class="button {{'main' if view.is_settled or is_over and view.scene not in ('ending', 'expired_dropped') else ''}}" href="{{root}}{{next_sale}}">Next</a></p>
% if view.is_settled:
<p class="quiet"><a href="{{root}}pay/{{facts.reference}}">Receipt</a></p>
% elif is_over:
<p class="quiet"><a href="{{root}}operator/payments/{{facts.reference}}">{{"Decide about it" if facts.received_sats else "Look at this payment"}}</a></p>
% end
</main>
