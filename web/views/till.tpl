% rebase("till_layout.tpl", title="Till")
<main class="till">
<h1 class="unseen">Till</h1>
<form id="till" method="post" action="{{root}}operator/till">
<p class="top"><a href="{{root or './'}}">Payments</a>
% if len(offered.sellers) > 1:
<select name="seller_id" aria-label="Seller">
% for each in offered.sellers:
<option {{"selected" if each == values.get("seller_id") else ""}}>{{each}}</option>
% end
</select>
% else:
<input type="hidden" name="seller_id" value="{{offered.sellers[0] if offered.sellers else ''}}">
% end
<select name="currency" aria-label="Currency">
% for each in offered.currencies:
<option data-decimals="{{decimals[each]}}" {{"selected" if each == values["currency"] else ""}}>{{each}}</option>
% end
</select></p>
<input type="hidden" name="token" value="{{token}}">
% if not offered.sellers:
<p class="fault" role="alert">There is no seller yet. The command <code>seller add SHOP</code> adds one.</p>
% end
% for error in filter(None, errors):
<p class="fault" role="alert">{{error[:1].upper()}}{{error[1:]}}</p>
% end
<input id="amount" class="amount" name="amount_fiat" inputmode="decimal" aria-label="Amount" autocomplete="off" placeholder="0" value="{{values.get('amount_fiat', '')}}">
<div class="keys" hidden>
% for key in "123456789":
<button type="button" data-key="{{key}}">{{key}}</button>
% end
<button type="button" data-key="." aria-label="Decimal point">.</button>
<button type="button" data-key="0">0</button>
<button type="button" data-key="back" aria-label="Delete the last digit">⌫</button>
</div>
<button class="main">Pay</button>
<p class="sound" hidden><label><input type="checkbox" id="sound"> Sound when money comes</label></p>
</form>
</main>
