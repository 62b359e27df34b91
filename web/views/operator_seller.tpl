% rebase("operator_layout.tpl", title=seller.id, page="Seller", live=True)
<h1>{{seller.id}}</h1>
% include("operator_notice.tpl", to="")
<section id="facts" class="card" data-live aria-label="Facts">
<dl class="facts">
% if seller.removed_at:
<div><dt>Removed</dt> <dd>{{moment(seller.removed_at)}} UTC</dd></div>
% end
% if seller.name:
<div><dt>Name</dt> <dd dir="auto">{{seller.name}}</dd></div>
% end
% if seller.email:
<div><dt>Email</dt> <dd>{{seller.email}}</dd></div>
% end
% if seller.support:
<div><dt>Support</dt> <dd>{{seller.support}}</dd></div>
% end
<div><dt>Added</dt> <dd>{{moment(seller.created_at)}} UTC</dd></div>
<div><dt>Payments</dt> <dd><a href="{{root}}?seller={{seller.id}}">All payments of this seller</a></dd></div>
</dl>
</section>
% include("operator_keys.tpl")
% include("operator_webhooks.tpl")
% if not seller.removed_at:
% include("operator_connect.tpl")
% end
