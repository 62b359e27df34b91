% path = root + "operator/sellers/" + seller.id + "/keys"
<section id="keys" data-live aria-labelledby="keys-title">
<h2 id="keys-title">API keys</h2>
% if keys:
<div class="scroll" role="region" aria-label="Table of API keys" tabindex="0">
<table class="sellers">
<caption class="unseen">API keys</caption>
<thead><tr><th scope="col">Key</th><th scope="col">Allows</th><th scope="col">Created (UTC)</th><th scope="col">Last use (UTC)</th><th scope="col"><span class="unseen">Revoke</span></th></tr></thead>
<tbody>
% for key in keys:
<tr id="{{key.reference}}">
<td><b dir="auto">{{key.label or "no label"}}</b><br><small class="code">{{key.reference}}</small>\\
% if key.expires_at:
<br><small>works until {{moment(key.expires_at)}} UTC</small>\\
% end
</td>
<td><ul class="plain">
% for words in in_words(key.permissions):
<li>{{words}}</li>
% end
</ul></td>
<td class="when">{{moment(key.created_at)[:16]}}<br><small>created {{"on this page" if key.created_by == "page" else "by command"}}</small></td>
<td class="when">{{moment(key.last_used_at)[:16] if key.last_used_at else "never"}}<br><small>last used</small></td>
<td class="decide"><details class="confirm">
<summary>Revoke…<span class="unseen"> {{key.reference}}</span></summary>
<form method="post" action="{{path}}/{{key.reference}}/revoke">
<p>The key stops at once. You cannot undo this.</p>
<button class="main">Revoke the key<span class="unseen"> {{key.reference}}</span></button>
</form>
</details></td>
</tr>
% end
</tbody>
</table>
</div>
% else:
<p class="none">There is no working key.</p>
% end
% if stopped:
<details>
<summary>Keys that do not work any more</summary>
<ul class="plain">
% for key in stopped:
<li><b dir="auto">{{key.label or "no label"}}</b> <small class="code">{{key.reference}}</small> \\
% if key.revoked_at:
revoked {{moment(key.revoked_at)[:16]}} UTC\\
% elif key.expires_at:
expired {{moment(key.expires_at)[:16]}} UTC\\
% end
</li>
% end
</ul>
</details>
% end
</section>
% if not seller.removed_at:
<section class="card" aria-labelledby="new-key-title">
<h2 id="new-key-title">New key</h2>
<form class="stack" method="post" action="{{path}}">
<input type="hidden" name="key_id" value="{{new_key_id}}">
<label>Label, for you (optional) <input name="label" maxlength="{{most_label}}" placeholder="WooCommerce" autocomplete="off"></label>
<fieldset>
<legend>The key allows</legend>
% for number, (choice, words) in enumerate(choices.items()):
<label class="choice"><input type="radio" name="allow" value="{{choice}}" {{"checked" if number == 0 else ""}}> {{words}}</label>
% end
<div class="choices">
% for policy, words in meanings.items():
<label class="choice"><input type="checkbox" name="{{policy}}" value="on"> <span>{{words}}<br><small class="code">{{policy}}</small></span></label>
% end
</div>
</fieldset>
<button class="main">Make the key</button>
</form>
</section>
% end
