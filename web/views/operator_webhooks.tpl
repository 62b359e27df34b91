% path = root + "operator/sellers/" + seller.id + "/webhooks"
<section id="webhooks" data-live aria-labelledby="webhooks-title">
<h2 id="webhooks-title">Webhooks</h2>
% if endpoints:
<div class="scroll" role="region" aria-label="Table of webhooks" tabindex="0">
<table class="sellers">
<caption class="unseen">Webhooks</caption>
<thead><tr><th scope="col">Endpoint</th><th scope="col">Events</th><th scope="col">Last answers (UTC)</th><th scope="col"><span class="unseen">Change</span></th></tr></thead>
<tbody>
% for each in endpoints:
% webhook = each.webhook
<tr id="{{webhook.reference}}">
<td><span class="code">{{each.url}}</span><br><small>{{webhook_kinds[webhook.kind]}}</small><br><small class="code">{{webhook.reference}}</small>\\
% if not webhook.is_enabled:
<br><span class="status">disabled</span>\\
% end
% if not webhook.automatic_redelivery:
<br><small>One attempt for each event</small>\\
% end
% if webhook.kind == btcpay_kind:
<details>
<summary>Show the secret<span class="unseen"> of {{webhook.reference}}</span></summary>
<p class="code">{{webhook.btcpay_secret}}</p>
</details>
% end
</td>
<td>\\
% if webhook.event_types is None:
all\\
% else:
{{", ".join(webhook.event_types) or "none"}}\\
% end
</td>
<td><ul class="plain">
% for delivery in each.deliveries:
<li id="{{delivery.reference}}"><span class="{{'' if delivery.was_accepted else 'trouble'}}">{{delivery.error or "HTTP " + str(delivery.http_code)}}</span> <small>{{moment(delivery.at)}}</small></li>
% end
% if not each.deliveries:
<li>none yet</li>
% end
% if each.is_testing:
<li>The daemon will send a test.</li>
% end
</ul></td>
<td class="decide">
<form method="post" action="{{path}}/{{webhook.reference}}/test">
<button>Send a test<span class="unseen"> to {{webhook.reference}}</span></button>
</form>
<form method="post" action="{{path}}/{{webhook.reference}}/switch">
<input type="hidden" name="to_state" value="{{'disabled' if webhook.is_enabled else 'enabled'}}">
<button>{{"Disable" if webhook.is_enabled else "Enable"}}<span class="unseen"> {{webhook.reference}}</span></button>
</form>
<details class="confirm">
<summary>Remove…<span class="unseen"> {{webhook.reference}}</span></summary>
<form method="post" action="{{path}}/{{webhook.reference}}/remove">
<p>The endpoint gets no more events. Nodetill gives up the events that wait for it.</p>
<button class="main">Remove the endpoint<span class="unseen"> {{webhook.reference}}</span></button>
</form>
</details></td>
</tr>
% end
</tbody>
</table>
</div>
% else:
<p class="none">There is no endpoint, so the shop must request the status of each payment.</p>
% end
</section>
% if not seller.removed_at:
<section class="card" aria-labelledby="new-webhook-title">
<h2 id="new-webhook-title">New webhook</h2>
<form class="stack" method="post" action="{{path}}">
<input type="hidden" name="webhook_id" value="{{new_webhook_id}}">
<label>Address <input name="url" type="url" required maxlength="2048" placeholder="https://shop.example.com/hook" autocomplete="off"></label>
<fieldset>
<legend>Form of the events</legend>
% for number, (kind, words) in enumerate(webhook_kinds.items()):
<label class="choice"><input type="radio" name="kind" value="{{kind}}" {{"checked" if number == 0 else ""}}> {{words}}</label>
% end
</fieldset>
<label>Events, for example InvoiceSettled InvoiceInvalid (optional, otherwise all) <input name="events" maxlength="1000" autocomplete="off"></label>
<label>Secret (optional, otherwise a new one) <input name="secret" maxlength="512" autocomplete="off"></label>
<button class="main">Add the endpoint</button>
</form>
</section>
% end
