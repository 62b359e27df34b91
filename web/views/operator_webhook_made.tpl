% rebase("operator_layout.tpl", title="New webhook", page="Seller", live=False)
<h1>New webhook of {{seller.id}}</h1>
<section class="card" aria-labelledby="save-title">
% if is_shown_again:
<h2 id="save-title">Copy the secret into the shop</h2>
% else:
<h2 id="save-title">Save the secret now, because it is not shown again</h2>
% end
<dl class="facts">
<div><dt>Address</dt> <dd class="code">{{webhook.url}}</dd></div>
<div><dt>Secret</dt> <dd class="code">{{secret}}</dd></div>
<div><dt>Webhook id</dt> <dd class="code">{{webhook.reference}}</dd></div>
</dl>
<p><a href="{{root}}operator/sellers/{{seller.id}}">Back to {{seller.id}}</a></p>
</section>
