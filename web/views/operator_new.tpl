% rebase("operator_layout.tpl", title="New request", page="New request", live=False)
% parts = include("operator_fields.tpl")
<form class="card ask" method="post" action="{{root}}operator/new">
<h1>New request</h1>
% parts["problems"]()
<input type="hidden" name="token" value="{{token}}">
% parts["amount"](more=" required autofocus")
% parts["seller"]()
% parts["line"]("order_id", "Order or invoice", "the customer sees it")
% more = ("label", "note", "confirmations", "expires_in")
<details {{"open" if any(errors.get(name) or values.get(name) for name in more) else ""}}>
<summary>More…</summary>
% parts["line"]("label", "Label", "on the checkout page and in the wallet")
% parts["lines"]("note", "Note", "for you alone")
% parts["terms"]()
</details>
<button class="main">Ask for it</button>
</form>
