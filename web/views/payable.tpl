<div class="pay">
<div class="due">
<h2>{{say("label.still_due" if facts.received_sats else "label.amount")}}</h2>
<div class="amount">
<p><span>{{view.plain_btc(facts.payable_sats)}}</span> BTC\\
% if view.payable_fiat:
<br><small>{{view.payable_fiat}}</small>\\
% end
</p>
<button type="button" data-copy="{{view.plain_btc(facts.payable_sats)}}" aria-label="{{say('action.copy_amount')}}" hidden>{{say("action.copy")}}</button>
</div>
% if facts.received_sats:
<dl class="facts">
<div><dt>{{say("label.total")}}</dt> <dd>{{view.plain_btc(facts.amount_sats)}} BTC</dd></div>
<div><dt>{{say("label.received")}}</dt> <dd>{{view.plain_btc(facts.received_sats)}} BTC</dd></div>
</dl>
% end
% if facts.order_id:
<p class="row"><span>{{say("label.order")}}</span> <bdi>{{facts.order_id}}</bdi></p>
% end
% if view.rate:
<p class="row"><span>{{say("label.rate")}}</span> {{view.rate}}</p>
% end
<p class="row"><span id="left">{{say("label.time_left")}}</span> <b id="clock" role="timer" aria-labelledby="left" aria-live="off" data-until="{{facts.expires_at.isoformat(timespec="milliseconds")}}">{{view.time_left}}</b></p>
</div>
<p class="open"><a class="button" href="{{facts.wallet_uri}}" target="_top">{{say("action.open_wallet")}}</a></p>
<img class="qr" src="{{root}}pay/{{facts.reference}}/qr.svg?sats={{facts.payable_sats}}" alt="{{say('page.qr')}}" width="240" height="240">
<div class="to">
<h2>{{say("label.address")}}</h2>
<p class="address">\\
% for group in view.address_groups:
<span>{{group}}</span>\\
% end
</p>
<button type="button" data-copy="{{facts.address}}" aria-label="{{say('action.copy_address')}}" hidden>{{say("action.copy")}}</button>
</div>
</div>
