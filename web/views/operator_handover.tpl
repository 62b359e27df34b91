% rebase("operator_layout.tpl", title="Connect a shop", page=None, live=False, scripts=("handover.js",) if target else ())
<section class="card login">
% if target:
<h1>Sending the key</h1>
<p>Nodetill sends the key of {{seller_id}} to <b>{{target.host}}</b>. Your shop's page then opens. If it does not, press the button.</p>
<form id="handover" method="post" action="{{target.url}}">
<input type="hidden" name="apiKey" value="{{api_key}}">
<input type="hidden" name="userId" value="operator">
% for each in permissions:
<input type="hidden" name="permissions[]" value="{{each}}">
% end
<button class="main">Send the key to {{target.host}}</button>
</form>
% else:
<h1>The new key</h1>
<p>Copy the key now, because Nodetill does not show it again.</p>
<dl class="facts">
<div><dt>Address (URL)</dt> <dd class="code">{{address}}</dd></div>
<div><dt>Store id</dt> <dd class="code">{{seller_id}}</dd></div>
<div><dt>API key</dt> <dd class="code">{{api_key}}</dd></div>
</dl>
<p><a href="{{root}}operator/sellers/{{seller_id}}">Page of {{seller_id}}</a></p>
% end
</section>
