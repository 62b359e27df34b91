% rebase("operator_layout.tpl", title="New link", page="New link", live=False)
<form class="card ask" method="post" action="{{root}}operator/links/new">
<h1>New link</h1>
<input type="hidden" name="link_id" value="{{link_id}}">
% if fault:
<p class="fault" role="alert">{{fault[:1].upper()}}{{fault[1:]}}.</p>
% end
% if not offered.sellers:
<p class="fault" role="alert">There is no seller yet. The command <code>seller add SHOP</code> adds one.</p>
% end
% def field(name, label, hint=""):
<label for="{{name}}">{{label}}\\
% if hint:
 <small>{{hint}}</small>\\
% end
</label>
% end
% def wrong(name):
% if name in errors:
<p class="trouble" id="{{name}}-error">{{errors[name][:1].upper()}}{{errors[name][1:]}}</p>
% end
% end
% def state(name):
% if name in errors:
 aria-invalid="true" aria-describedby="{{name}}-error"\\
% end
% end
% def line(name, label, hint="", most=100, mode="text"):
% field(name, label, hint)
<input id="{{name}}" name="{{name}}" maxlength="{{most}}" inputmode="{{mode}}" autocomplete="off" value="{{values.get(name, '')}}"\\
% state(name)
>
% wrong(name)
% end
% def lines(name, label, hint=""):
% field(name, label, hint)
<textarea id="{{name}}" name="{{name}}" rows="2" maxlength="500"\\
% state(name)
>
{{values.get(name, "")}}</textarea>
% wrong(name)
% end
% field("title", "Title", "such as Invoice 2026-17; the payer sees it")
<input id="title" name="title" maxlength="100" autocomplete="off" value="{{values.get('title', '')}}" required autofocus\\
% state("title")
>
% wrong("title")
<div class="pair">
<div>
% field("amount_fiat", "Amount", "empty: the payer chooses")
<input id="amount_fiat" name="amount_fiat" inputmode="decimal" autocomplete="off" value="{{values.get('amount_fiat', '')}}"\\
% state("amount_fiat")
>
</div>
<div>
% field("currency", "Currency")
<select id="currency" name="currency"\\
% state("currency")
>
% for each in offered.currencies:
<option {{"selected" if each == values["currency"] else ""}}>{{each}}</option>
% end
</select>
</div>
</div>
% wrong("amount_fiat")
% wrong("currency")
<fieldset>
<legend>Who pays it?</legend>
% is_reusable = values.get("kind") == "reusable"
<label class="choice"><input type="radio" name="kind" value="invoice" {{"" if is_reusable else "checked"}}> One payer, once: an invoice</label>
<label class="choice"><input type="radio" name="kind" value="reusable" {{"checked" if is_reusable else ""}}> Anybody, any number of times: a donation or a price tag</label>
</fieldset>
% if len(offered.sellers) > 1:
% field("seller_id", "Seller")
<select id="seller_id" name="seller_id"\\
% state("seller_id")
>
% for each in offered.sellers:
<option {{"selected" if each == values.get("seller_id") else ""}}>{{each}}</option>
% end
</select>
% else:
<input type="hidden" name="seller_id" value="{{offered.sellers[0] if offered.sellers else ''}}">
% end
% wrong("seller_id")
% more = ("description", "order_id", "due_at", "minimum", "maximum", "suggested", "thanks", "note", "confirmations", "expires_in", "redirect_url")
<details {{"open" if any(errors.get(name) or values.get(name) for name in more) else ""}}>
<summary>More…</summary>
% lines("description", "Description", "the payer sees it")
% line("order_id", "Order or invoice number", "the payer sees it")
% field("due_at", "Due date", "of an invoice; it can still be paid later")
<input id="due_at" name="due_at" type="date" value="{{values.get('due_at', '')}}"\\
% state("due_at")
>
% wrong("due_at")
<div class="pair">
<div>
% line("minimum", "At least", "", 20, "decimal")
</div>
<div>
% line("maximum", "At most", "", 20, "decimal")
</div>
</div>
% line("suggested", "Suggested amounts", f"up to {most_suggested}, such as 5; 10; 20", 100, "text")
% lines("thanks", "Thanks", "the payer sees it after the payment")
% lines("note", "Note", "for you alone")
<div class="pair">
<div>
% line("confirmations", "Confirmations", "", 3, "numeric")
</div>
<div>
% field("expires_in", "Price valid for")
<select id="expires_in" name="expires_in"\\
% state("expires_in")
>
% for seconds, words in (("", f"{settings.payment_expiry // 60} minutes"), ("3600", "1 hour"), ("14400", "4 hours"), ("86400", "24 hours")):
<option value="{{seconds}}" {{"selected" if seconds == values.get("expires_in", "") else ""}}>{{words}}</option>
% end
</select>
% wrong("expires_in")
</div>
</div>
% line("redirect_url", "Return link", "the checkout page leads there", 2048, "url")
</details>
<button class="main">Make the link</button>
</form>
