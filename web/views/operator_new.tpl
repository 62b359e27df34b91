% rebase("operator_layout.tpl", title="New request", page="New request", live=False)
<form class="card ask" method="post" action="{{root}}operator/new">
<h1>New request</h1>
% if fault:
<p class="fault" role="alert">{{fault[:1].upper()}}{{fault[1:]}}.</p>
% end
% if not offered.sellers:
<p class="fault" role="alert">There is no seller yet. The command <code>seller add SHOP</code> adds one.</p>
% end
<input type="hidden" name="token" value="{{token}}">
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
<div class="pair">
<div>
% field("amount_fiat", "Amount")
<input id="amount_fiat" name="amount_fiat" inputmode="decimal" autocomplete="off" value="{{values.get('amount_fiat', '')}}" required autofocus\\
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
% field("order_id", "Order or invoice", "the customer sees it")
<input id="order_id" name="order_id" maxlength="100" autocomplete="off" value="{{values.get('order_id', '')}}"\\
% state("order_id")
>
% wrong("order_id")
<details {{"open" if any(errors.get(name) or values.get(name) for name in ("label", "note", "confirmations", "expires_in")) else ""}}>
<summary>More…</summary>
% field("label", "Label", "on the checkout page and in the wallet")
<input id="label" name="label" maxlength="100" autocomplete="off" value="{{values.get('label', '')}}"\\
% state("label")
>
% wrong("label")
% field("note", "Note", "for you alone")
<textarea id="note" name="note" rows="2" maxlength="500"\\
% state("note")
>{{values.get("note", "")}}</textarea>
% wrong("note")
<div class="pair">
<div>
% field("confirmations", "Confirmations")
<input id="confirmations" name="confirmations" inputmode="numeric" autocomplete="off" placeholder="{{settings.confirmations}}" value="{{values.get('confirmations', '')}}"\\
% state("confirmations")
>
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
</div>
</div>
% wrong("confirmations")
% wrong("expires_in")
</details>
<button class="main">Ask for it</button>
</form>
