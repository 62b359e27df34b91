% say = view.label
% reload = "back" if back else None if facts.is_final else "without script"
% rebase("layout.tpl", title=view.headline + " · " + view.format_btc(facts.amount_sats), reload=reload)
<main data-status="{{root}}pay/{{facts.reference}}/status" data-invoice="{{facts.reference}}" data-state="{{facts.invoice_status}}" data-tag="{{tag}}" data-scene="{{view.scene}}" data-now="{{now}}"\\
% if facts.is_final:
 data-final\\
% end
% if back:
 data-back="{{back}}"\\
% end
 data-copied="{{say('action.copied')}}" data-offline="{{say('page.offline')}}" data-minute="{{say('page.last_minute')}}">
% if is_modal:
% include("close.tpl", say=say)
% end
<div class="label">
<p dir="auto">{{facts.payee}}</p>
% if facts.subject:
<p class="subject" dir="auto">{{facts.subject}}</p>
% end
</div>
<section id="news" class="news {{view.tone}}" aria-live="polite" aria-atomic="true" data-live>
% include("icon.tpl", tone=view.tone)
<h1 tabindex="-1">{{view.headline}}</h1>
<p>{{view.lead}}</p>
% if facts.thanks and view.is_settled:
<p class="text thanks" dir="auto">{{facts.thanks}}</p>
% end
% for notice in view.notices:
<p class="notice">{{notice}}</p>
% end
% if view.support_url:
<p>{{say("label.support")}} <a href="{{view.support_url}}" rel="noreferrer">{{facts.support}}</a></p>
% end
</section>
<section id="progress" data-live>
% if view.is_settled and view.bar:
<p class="row"><span>{{say("label.confirmations")}}</span> <b>{{say("label.confirmations_of")}}</b></p>
<svg class="bar" viewBox="0 0 240 6" preserveAspectRatio="none" aria-hidden="true">
% for x, width, state in view.bar:
<rect class="{{state}}" x="{{x}}" width="{{width}}" height="6"/>
% end
</svg>
% end
</section>
<section id="payment" data-live>
% if view.is_folded:
% include("folded.tpl", say=say)
% elif facts.payable_sats:
% include("payable.tpl", say=say)
% else:
% include("settled.tpl", say=say)
% end
</section>
<section id="back" data-live>
% if facts.redirect_url and facts.payable_sats and not view.is_folded and not is_modal:
<a class="away" href="{{facts.redirect_url}}" rel="noreferrer" target="_top">{{say("action.pay_another_way")}}</a>
% elif facts.redirect_url and not facts.payable_sats:
% if back:
<p class="soon-back">{{say("page.back_soon")}}</p>
% end
<a class="button {{'quiet' if view.is_settled and facts.status != 'confirmed' else ''}}" href="{{facts.redirect_url}}" rel="noreferrer" target="_top">{{say("action.back")}}</a>
% end
</section>
<p id="offline" class="offline" role="status"></p>
<p id="said" class="unseen" role="status"></p>
<footer>
% if reload == "without script":
<noscript><p>{{language.say("page.reloads", seconds=reload_seconds)}}</p></noscript>
% end
<p class="reference"><span>{{say("label.payment")}}</span> <span class="address">\\
% for group in view.reference_groups:
<span>{{group}}</span>\\
% end
</span> <button type="button" data-copy="{{facts.reference}}" aria-label="{{say('action.copy_payment')}}" hidden>{{say("action.copy")}}</button></p>
<nav aria-label="{{say('label.languages')}}">
% for each in languages:
<a href="?{{kept}}lang={{each.code}}" lang="{{each.code}}" hreflang="{{each.code}}"\\
% if each.code == language.code:
 aria-current="true"\\
% end
>{{each.name}}</a>
% end
</nav>
</footer>
</main>
