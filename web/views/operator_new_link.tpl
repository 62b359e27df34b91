% rebase("operator_layout.tpl", title="New link", page="New link", live=False)
% parts = include("operator_fields.tpl")
<form class="card ask" method="post" action="{{root}}operator/links/new">
<h1>New link</h1>
<input type="hidden" name="token" value="{{token}}">
% parts["problems"]()
% parts["line"]("title", "Title", "such as Invoice 2026-17; the payer sees it", more=" required autofocus")
% parts["amount"]("empty: the payer chooses")
<fieldset>
<legend>Who pays it?</legend>
% is_reusable = values.get("kind") == "reusable"
<label class="choice"><input type="radio" name="kind" value="invoice" {{"" if is_reusable else "checked"}}> One payer, once: an invoice</label>
<label class="choice"><input type="radio" name="kind" value="reusable" {{"checked" if is_reusable else ""}}> Anybody, any number of times: a donation or a price tag</label>
</fieldset>
% parts["seller"]()
% more = ("description", "order_id", "due_at", "minimum", "maximum", "suggested", "thanks", "note", "confirmations", "expires_in", "redirect_url")
<details {{"open" if any(errors.get(name) or values.get(name) for name in more) else ""}}>
<summary>More…</summary>
% parts["lines"]("description", "Description", "the payer sees it")
% parts["line"]("order_id", "Order or invoice number", "the payer sees it")
% parts["field"]("due_at", "Due date", "of an invoice; it can still be paid later")
<input id="due_at" name="due_at" type="date" value="{{values.get('due_at', '')}}"\\
% parts["state"]("due_at")
>
% parts["wrong"]("due_at")
<div class="pair">
<div>
% parts["line"]("minimum", "At least", "", 20, "decimal")
</div>
<div>
% parts["line"]("maximum", "At most", "", 20, "decimal")
</div>
</div>
% parts["line"]("suggested", "Suggested amounts", f"up to {most_suggested}, such as 5; 10; 20")
% parts["lines"]("thanks", "Thanks", "the payer sees it after the payment")
% parts["lines"]("note", "Note", "for you alone")
% parts["terms"]()
% parts["line"]("redirect_url", "Return link", "the checkout page leads there", 2048, "url")
</details>
<button class="main">Make the link</button>
</form>
