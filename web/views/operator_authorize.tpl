% rebase("operator_layout.tpl", title="Connect a shop", page="Sellers", live=False)
% say_to = f" and send the key to {wanted.target.host}" if wanted.target else ""
<h1>Connect a shop</h1>
<p>\\
% if wanted.application:
<b><bdi>{{wanted.application}}</bdi></b> asks for an API key.\\
% else:
A plug-in asks for an API key.\\
% end
</p>
% if fault:
<p class="fault" role="alert">{{fault}}</p>
% end
% if not wanted.obstacle:
<form class="card connect" method="post" action="{{root}}api-keys/authorize">
<input type="hidden" name="query" value="{{query}}">
<input type="hidden" name="token" value="{{token}}">
% if wanted.target:
<section aria-labelledby="goes-to">
<h2 id="goes-to">The key goes to</h2>
<p class="host">{{wanted.target.host}}</p>
<p class="note code">{{wanted.target.url}}</p>
% if wanted.target.is_readable:
<p class="fault">This address has no TLS. Everybody in its network can read the key.</p>
% end
<p>Approve only if this is your shop, and if you pressed the button in its settings just now.</p>
</section>
% else:
<p>The plug-in named no address. Nodetill shows the key once, and you enter it in your shop.</p>
% end
<fieldset>
<legend>With the key, the shop may</legend>
% if wanted.may_choose:
% for each in wanted.permissions:
<label class="choice"><input type="checkbox" name="grant:{{each}}" value="on"{{" checked" if each in granted else ""}}> <span>{{meanings[each]}} <small class="code">{{each.removeprefix("btcpay.store.")}}</small></span></label>
% end
% else:
<ul>
% for each in wanted.permissions:
<li>{{meanings[each]}} <small class="code">{{each.removeprefix("btcpay.store.")}}</small></li>
% end
</ul>
% end
<p class="note">No key can move money, because Nodetill has no keys to your coins.</p>
% if wanted.refused:
<p class="note">Nodetill does not offer these permissions, so the key leaves them out: \\
% for each in wanted.refused:
<span class="code">{{each}}</span>{{"" if each == wanted.refused[-1] else ", "}}\\
% end
.{{" Make refunds by hand, from your own wallet." if wanted.wants_refunds else ""}}</p>
% end
</fieldset>
<fieldset>
<legend>For the seller</legend>
% for each in sellers:
<label class="choice"><input type="radio" name="seller" value="{{each.id}}" required{{" checked" if each.id == chosen else ""}}> <span><bdi>{{each.name or each.id}}</bdi>\\
% if each.name:
 <small class="code">{{each.id}}</small>\\
% end
</span></label>
% end
<label class="choice"><input type="radio" name="seller" value="+" required{{" checked" if chosen == "+" else ""}}> <span>A new seller</span></label>
<label class="new">Id of the new seller <input name="new_seller" value="{{new_seller}}" maxlength="64" pattern="[A-Za-z0-9][A-Za-z0-9._\-]*" autocomplete="off" spellcheck="false"></label>
<label class="new">Name that customers see <small>optional</small> <input name="name" value="{{new_name}}" maxlength="{{most_name}}" autocomplete="off"></label>
<label class="new">Support: an email address or a web page <small>optional</small> <input name="support" value="{{new_support}}" maxlength="300" autocomplete="off" spellcheck="false"></label>
</fieldset>
<p class="actions"><button class="main">Approve{{say_to}}</button> <a href="{{root or './'}}">Do not approve</a></p>
</form>
% end
<details{{" open" if wanted.obstacle else ""}}>
<summary>Connect the shop by hand instead</summary>
<p>Some shops refuse the key with an error such as “Invalid token”, or have no button. Enter these in the settings of the plug-in:</p>
<dl class="facts">
<div><dt>Address (URL)</dt> <dd class="code">{{address}}</dd></div>
<div><dt>Store id</dt> <dd>the id of the seller</dd></div>
<div><dt>API key</dt> <dd>“New key” on the seller's page, or <code>{{command}} key add SELLER --preset shop</code></dd></div>
<div><dt>Webhook</dt> <dd>Most plug-ins make it by themselves. For the others, add it on the seller's page, and copy its secret.</dd></div>
</dl>
% if sellers:
<ul class="plain">
% for each in sellers:
<li><a href="{{root}}operator/sellers/{{each.id}}">Page of {{each.id}}</a></li>
% end
</ul>
% end
</details>
