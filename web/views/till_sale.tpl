% rebase("till_layout.tpl", title="Till", is_polling=scene != "paid" and not facts.is_final)
<main id="sale" aria-live="polite" class="sale {{scene}}" data-scene="{{scene}}" data-status="{{root}}pay/{{facts.reference}}/status" data-sats="{{facts.received_sats}}">
<p class="amount">{{amount}}</p>
% if scene == "paid":
<svg class="tick" viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="11"/><path d="M6.5 12.5l4 4 7.5-8.5"/></svg>
<h1>Received</h1>
% if facts.confirmations_required:
<p>{{facts.confirmations}} of {{facts.confirmations_required}} confirmations. Nodetill reports the confirmation by email.</p>
% end
% if facts.overpaid_sats:
<p>{{bitcoin(facts.overpaid_sats)}} too much.</p>
% end
% elif scene == "over":
% if facts.received_sats:
<h1>The time is up, and a part is missing</h1>
<p>{{bitcoin(facts.received_sats)}} has come. <a href="{{root}}operator/payments/{{facts.reference}}">Decide about it</a></p>
% else:
<h1>The time is up</h1>
<p>No money has come. Press Next and start again.</p>
% end
% else:
% if scene == "part":
<h1>{{bitcoin(facts.due_sats)}} is still missing</h1>
% elif facts.taken_back:
<h1>The payment was taken back</h1>
% else:
<h1 class="unseen">Waiting for the payment</h1>
% end
<img class="qr" src="{{root}}pay/{{facts.reference}}/qr.svg?sats={{facts.payable_sats}}" alt="QR code of the payment" width="320" height="320">
<p>{{bitcoin(facts.payable_sats)}}</p>
% end
<p class="next"><a class="button {{'main' if scene in ('paid', 'over') else ''}}" href="{{root}}{{next_sale}}">Next</a></p>
</main>
