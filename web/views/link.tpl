% say = view.say
% link = view.link
% rebase("layout.tpl", title=link.title, scripts=(), reload=None, root=root)
<main class="link">
<p class="label" dir="auto">{{view.public.payee}}</p>
<h1 dir="auto">{{link.title}}</h1>
% if link.description:
<p class="text" dir="auto">{{link.description}}</p>
% end
% if view.scene:
<section class="news {{view.tone}}">
% include("icon.tpl", tone=view.tone)
<h2>{{view.headline}}</h2>
<p>{{view.lead}}</p>
% if link.thanks and view.scene in ("paid", "processing"):
<p class="text thanks" dir="auto">{{link.thanks}}</p>
% end
% if view.support_url:
<p>{{say("label.support")}} <a href="{{view.support_url}}" rel="noreferrer">{{view.public.support}}</a></p>
% end
</section>
% end
<dl class="facts">
% if view.amount:
<div><dt>{{say("label.amount")}}</dt> <dd>\\
% if view.remaining:
{{view.amount}}\\
% else:
<b>{{view.amount}}</b>\\
% end
</dd></div>
% end
% if view.paid:
<div><dt>{{say("label.received")}}</dt> <dd>{{view.paid}}</dd></div>
% end
% if view.remaining:
<div><dt>{{say("label.still_due")}}</dt> <dd><b>{{view.remaining}}</b></dd></div>
% end
% if view.paid_at:
<div class="paper"><dt>{{say("label.confirmed_at")}}</dt> <dd>{{view.paid_at}}</dd></div>
% end
% if view.late:
<div><dt>{{say("link.under_review")}}</dt> <dd>{{view.late}}</dd></div>
% end
% if view.due:
<div><dt>{{say("link.overdue_since" if view.is_overdue else "link.due")}}</dt> <dd class="{{'soon' if view.is_overdue else ''}}">{{view.due}}</dd></div>
% end
% if link.order_id:
<div><dt>{{say("link.order")}}</dt> <dd dir="auto">{{link.order_id}}</dd></div>
% end
% for part in view.parts:
<div><dt>{{say("label.payment")}}</dt> <dd><a class="txid" href="{{root}}pay/{{part.reference}}">{{part.number}}</a> <span class="paper txid">{{part.reference}}</span> <span class="fiat part">{{part.worth}}</span></dd></div>
% if part.txid:
<div class="paper"><dt>{{say("label.transaction")}}</dt> <dd class="txid">{{part.txid}}</dd></div>
% end
% if part.received_at:
<div class="paper"><dt>{{say("label.received_at")}}</dt> <dd>{{part.received_at}}</dd></div>
% end
% end
% if view.public.support and not view.is_payable:
<div class="paper"><dt>{{say("label.contact")}}</dt> <dd>{{view.public.support}}</dd></div>
% end
</dl>
% if view.is_repeated:
<section class="news attention">
% include("icon.tpl", tone="attention")
<h2>{{say("link.earlier_headline")}}</h2>
<p>{{say("link.dropped_lead" if view.is_folded else "link.earlier_lead")}}</p>
<p><a href="{{root}}pay/{{view.earlier.reference}}?lang={{language.code}}">{{say("link.earlier_look")}} <span class="txid">{{view.earlier_number}}</span></a></p>
% if view.support_url:
<p>{{say("label.support")}} <a href="{{view.support_url}}" rel="noreferrer">{{view.public.support}}</a></p>
% end
</section>
% end
% if view.is_folded:
<details id="again">
<summary>{{say("action.pay_again")}}</summary>
% end
% if view.is_chosen_by_payer:
<section class="choose">
% if view.choices:
<form method="post" action="{{root}}l/{{link.reference}}/pay?lang={{language.code}}">
<div class="choices">
% for plain, text in view.choices:
<button name="choice" value="{{plain}}">{{text}}</button>
% end
</div>
</form>
% end
<form method="post" action="{{root}}l/{{link.reference}}/pay?lang={{language.code}}">
<label for="amount">{{say("link.other_amount" if view.choices else "link.choose")}}</label>
<span class="amount-field"><input id="amount" name="amount" inputmode="decimal" autocomplete="off" maxlength="40" required\\
% if view.error:
 value="{{view.error.typed}}" aria-invalid="true" aria-describedby="amount-error" autofocus\\
% elif view.bounds:
 aria-describedby="amount-bounds"\\
% end
> <span>{{link.currency}}</span></span>
% if view.error:
<p id="amount-error" class="error">{{view.error}}</p>
% elif view.bounds:
<p id="amount-bounds" class="hint">{{view.bounds}}</p>
% end
<button class="button">{{say("link.pay")}}</button>
</form>
</section>
% elif view.is_payable:
<form method="post" action="{{root}}l/{{link.reference}}/pay?lang={{language.code}}">
<button class="button">{{say("link.pay_rest" if view.remaining else "link.pay")}}</button>
</form>
% end
% if view.is_folded:
</details>
% end
% if view.is_payable:
<p class="hint screen">{{say("link.price_later")}}</p>
<figure class="paper">
<img class="qr" src="{{root}}l/{{link.reference}}/qr.svg" alt="" width="240" height="240">
<figcaption>{{say("link.scan")}}<br><span class="address">{{url}}</span></figcaption>
</figure>
% end
<footer>
<nav aria-label="{{say('label.languages')}}">
% for each in languages:
<a href="{{root}}l/{{link.reference}}?lang={{each.code}}" lang="{{each.code}}" hreflang="{{each.code}}"\\
% if each.code == language.code:
 aria-current="true"\\
% end
>{{each.name}}</a>
% end
</nav>
</footer>
</main>
