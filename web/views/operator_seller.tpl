% rebase("operator_layout.tpl", title=seller.id, page="Seller", live=True)
<h1>{{seller.id}}</h1>
% include("operator_notice.tpl", to="")
<section id="facts" class="card" data-live aria-label="Facts">
<dl class="facts">
% if seller.removed_at:
<div><dt>Removed</dt> <dd>{{moment(seller.removed_at)}} UTC</dd></div>
% end
<div><dt>Name</dt> <dd dir="auto">{{seller.name or "none, so customers see " + seller.id}}</dd></div>
% if seller.email:
<div><dt>Email</dt> <dd>{{seller.email}}</dd></div>
% end
<div><dt>Support</dt> <dd>{{seller.support or "none, so customers in trouble find no address"}}</dd></div>
<div><dt>Added</dt> <dd>{{moment(seller.created_at)}} UTC</dd></div>
<div><dt>Payments</dt> <dd><a href="{{root}}?seller={{seller.id}}">All payments of this seller</a></dd></div>
</dl>
</section>
% if not seller.removed_at:
<details class="confirm">
<summary>Change the name and the support…</summary>
<form class="card stack" method="post" action="{{root}}operator/sellers/{{seller.id}}">
<label>Name that customers see <input name="name" value="{{seller.name}}" maxlength="{{most_name}}" autocomplete="off"></label>
<label>Support: an email address or a web page <input name="support" value="{{seller.support or ''}}" maxlength="300" autocomplete="off" spellcheck="false"></label>
<button class="main">Save</button>
</form>
</details>
% end
% include("operator_keys.tpl")
% include("operator_webhooks.tpl")
% if not seller.removed_at:
% include("operator_connect.tpl")
% end
