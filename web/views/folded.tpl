<div class="to">
<h2>{{say("label.lost_transaction")}}</h2>
<p class="address">{{view.lost.txid}}</p>
<button type="button" data-copy="{{view.lost.txid}}" aria-label="{{say('action.copy_transaction')}}" hidden>{{say("action.copy")}}</button>
% if view.lost.url:
<p class="more"><a href="{{view.lost.url}}" rel="noreferrer">{{say("action.look_up_lost")}}</a></p>
% end
</div>
<details id="again"\\
% if is_unfolded:
 open\\
% end
>
<summary>{{say("action.pay_again")}}</summary>
% if not is_unfolded:
<noscript><p>{{language.say("page.folds_up", seconds=reload_seconds)}} <a href="?{{kept}}lang={{language.code}}&amp;again=1">{{say("action.keep_open")}}</a></p></noscript>
% end
% include("payable.tpl", say=say)
</details>
