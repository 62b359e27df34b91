<dl class="facts">
% if facts.order_id:
<div><dt>{{say("label.order")}}</dt> <dd dir="auto">{{facts.order_id}}</dd></div>
% end
<div><dt>{{say("label.amount")}}</dt> <dd>{{view.plain_btc(facts.amount_sats)}} BTC\\
% if view.fiat:
<br><span class="fiat">{{view.fiat}}</span>\\
% end
</dd></div>
% if facts.received_sats:
<div><dt>{{say("label.received")}}</dt> <dd>{{view.plain_btc(facts.received_sats)}} BTC</dd></div>
% end
% for row in view.transactions:
<div><dt>{{say("label.transaction")}}</dt> <dd>\\
% if row.url:
<a class="txid" href="{{row.url}}" rel="noreferrer" aria-label="{{view.look_up(row)}}">{{row.short}}</a>\\
% else:
<span class="txid">{{row.txid}}</span>\\
% end
% if row.amount:
<span class="fiat part">{{row.amount}}</span>\\
% end
% if row.url:
<span class="paper txid">{{row.txid}}</span>\\
% end
</dd></div>
% end
% if view.received_at and view.is_settled:
<div class="paper"><dt>{{say("label.received_at")}}</dt> <dd>{{view.received_at}}</dd></div>
% end
% if view.confirmed_at and view.is_settled:
<div><dt>{{say("label.confirmed_at")}}</dt> <dd>{{view.confirmed_at}}</dd></div>
% end
% if view.is_settled:
% if view.rate:
<div class="paper"><dt>{{say("label.rate")}}</dt> <dd>{{view.rate}}</dd></div>
% end
<div class="paper"><dt>{{say("label.address")}}</dt> <dd class="txid">{{facts.address}}</dd></div>
<div class="paper"><dt>{{say("label.shop")}}</dt> <dd dir="auto">{{facts.shop}}</dd></div>
% if facts.support:
<div class="paper"><dt>{{say("label.contact")}}</dt> <dd>{{facts.support}}</dd></div>
% end
% end
</dl>
