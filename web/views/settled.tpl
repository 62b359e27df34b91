<dl class="facts">
<div><dt>{{say("label.amount")}}</dt> <dd>{{view.format_btc(facts.amount_sats)}}\\
% if view.fiat:
<br><span class="fiat">{{view.fiat}}</span>\\
% end
</dd></div>
% if facts.received_sats:
<div><dt>{{say("label.received")}}</dt> <dd>{{view.format_btc(facts.received_sats)}}</dd></div>
% end
% if view.transaction_url:
<div><dt>{{say("label.transaction")}}</dt> <dd><a class="txid" href="{{view.transaction_url}}" rel="noreferrer">{{facts.txid[:8]}}…{{facts.txid[-8:]}}</a></dd></div>
% elif facts.txid:
<div><dt>{{say("label.transaction")}}</dt> <dd class="txid">{{facts.txid}}</dd></div>
% end
</dl>
