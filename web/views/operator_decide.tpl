<div>
% path = root + "operator/payments/" + payment["payment_request_id"]
% suffix = " " + payment["payment_request_id"]
% if payment["late"] and payment["status"] == "expired":
% if is_accepted:
<p class="said">Accepted: the daemon will count it.</p>
% else:
<details class="confirm">
<summary>Accept…<span class="unseen">{{suffix}}</span></summary>
<form method="post" action="{{path}}/accept">
<input type="hidden" name="to" value="{{to}}">
<p>The payment then counts at the old price. You cannot undo this.</p>
<button class="main">Accept at the old price<span class="unseen">{{suffix}}</span></button>
</form>
</details>
% end
% end
<form method="post" action="{{path}}/settle">
<input type="hidden" name="revision" value="{{revision}}">
<input type="hidden" name="to" value="{{to}}">
% if get("most_comment"):
<label>Your comment for the timeline (optional) <input name="comment" maxlength="{{most_comment}}" placeholder="What did you do?" autocomplete="off"></label>
% end
<button>Mark as done<span class="unseen">{{suffix}}</span></button>
</form>
</div>
