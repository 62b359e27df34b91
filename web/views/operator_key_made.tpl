% rebase("operator_layout.tpl", title="New key", page="Seller", live=False)
<h1>New key of {{seller.id}}</h1>
<section class="card" aria-labelledby="save-title">
<h2 id="save-title">Save the key now, because it is not shown again</h2>
<dl class="facts">
<div><dt>Key</dt> <dd class="code">{{api_key}}</dd></div>
<div><dt>Address</dt> <dd class="code">{{public_url}}</dd></div>
<div><dt>Store id</dt> <dd class="code">{{seller.id}}</dd></div>
<div><dt>Label</dt> <dd dir="auto">{{key.label or "no label"}}</dd></div>
<div><dt>Allows</dt> <dd><ul class="plain">
% for words in in_words(key.permissions):
<li>{{words}}</li>
% end
</ul></dd></div>
<div><dt>Key id</dt> <dd class="code">{{key.reference}}</dd></div>
</dl>
<p><a href="{{root}}operator/sellers/{{seller.id}}">Back to {{seller.id}}</a></p>
</section>
