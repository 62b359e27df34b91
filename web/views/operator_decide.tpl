<div>
% path = root + "operator/payments/" + payment["payment_request_id"]
% suffix = " " + payment["payment_request_id"]
% if payment["late"] and payment["status"] == "expired":
% if is_accepted:
<p class="said">Accepted: the daemon will count it.</p>
% else:
<form method="post" action="{{path}}/accept">
<button>Accept<span class="unseen">{{suffix}}</span></button>
</form>
% end
% end
<form method="post" action="{{path}}/settle">
<input type="hidden" name="revision" value="{{revision}}">
<button>Mark as done<span class="unseen">{{suffix}}</span></button>
</form>
</div>
