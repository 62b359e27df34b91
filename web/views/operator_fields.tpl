% # The parts of the forms that ask for money. `include` returns these functions.
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
% def line(name, label, hint="", most=100, mode="text", more=""):
% field(name, label, hint)
<input id="{{name}}" name="{{name}}" maxlength="{{most}}" inputmode="{{mode}}" autocomplete="off" value="{{values.get(name, '')}}"{{more}}\\
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
% def choice(name, label, options, chosen):
% field(name, label)
<select id="{{name}}" name="{{name}}"\\
% state(name)
>
% for value, words in options:
<option {{"selected" if value == chosen else ""}}\\
% if value != words:
 value="{{value}}"\\
% end
>{{words}}</option>
% end
</select>
% end
% def amount(hint="", more=""):
<div class="pair">
<div>
% field("amount_fiat", "Amount", hint)
<input id="amount_fiat" name="amount_fiat" inputmode="decimal" autocomplete="off" value="{{values.get('amount_fiat', '')}}"{{more}}\\
% state("amount_fiat")
>
</div>
<div>
% choice("currency", "Currency", [(each, each) for each in offered.currencies], values["currency"])
</div>
</div>
% wrong("amount_fiat")
% wrong("currency")
% end
% def seller():
% if len(offered.sellers) > 1:
% choice("seller_id", "Seller", [(each, each) for each in offered.sellers], values.get("seller_id"))
% else:
<input type="hidden" name="seller_id" value="{{offered.sellers[0] if offered.sellers else ''}}">
% end
% wrong("seller_id")
% end
% def terms():
<div class="pair">
<div>
% line("confirmations", "Confirmations", "", 3, "numeric")
</div>
<div>
% lifetimes = [("", f"{settings.payment_expiry // 60} minutes"), ("3600", "1 hour"), ("14400", "4 hours"), ("86400", "24 hours")]
% choice("expires_in", "Price valid for", lifetimes, values.get("expires_in", ""))
% wrong("expires_in")
</div>
</div>
% end
% def problems():
% if fault:
<p class="fault" role="alert">{{fault[:1].upper()}}{{fault[1:]}}.</p>
% end
% if not offered.sellers:
<p class="fault" role="alert">There is no seller yet. The command <code>seller add SHOP</code> adds one.</p>
% end
% end
