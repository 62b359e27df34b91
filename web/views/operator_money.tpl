% rebase("operator_layout.tpl", title="Money", page="Money", live=False)
<h1>Money received</h1>
<p>Confirmed payments by day of confirmation (UTC), in the currency and amount of the request.</p>
<nav class="spans" aria-label="Period">
% for each in spans:
<a href="?days={{each}}"\\
% if each == span:
 aria-current="true"\\
% end
>{{each}} days</a>
% end
</nav>
% if not charts:
<p class="none">No payment was confirmed in this period.</p>
% end
% for chart in charts:
<section class="card" aria-labelledby="title-{{chart.currency}}">
<h2 id="title-{{chart.currency}}">{{chart.currency}}</h2>
<p class="standing"><b>{{money(chart.written(chart.total.amount), chart.currency)}}</b> <span>{{bitcoin(chart.total.received_sats)}} in {{"{:,}".format(chart.total.payments)}} payment{{"s" * (chart.total.payments != 1)}}</span></p>
<figure>
<figcaption>Best day: {{money(chart.written(chart.highest), chart.currency)}}</figcaption>
<svg class="chart" viewBox="0 0 {{chart.width}} {{height}}" preserveAspectRatio="none" role="img" aria-label="{{chart.currency}} by day; the table below has the same figures">
% for bar in chart.bars:
<g><title>{{bar.day}}: {{money(chart.written(bar.taking.amount), chart.currency)}}</title><rect class="ground" x="{{bar.x}}" y="0" width="{{bar_width}}" height="{{height}}"/><rect x="{{bar.x}}" y="{{bar.y}}" width="{{bar_width}}" height="{{bar.height}}"/></g>
% end
</svg>
<p class="row"><span>{{days[0]}}</span> <span>{{days[-1]}}</span></p>
</figure>
<details>
<summary>By day</summary>
<div class="scroll" role="region" aria-label="{{chart.currency}} by day" tabindex="0">
<table>
<caption class="unseen">{{chart.currency}} by day</caption>
<thead><tr><th scope="col">Day</th><th scope="col" class="number">Payments</th><th scope="col" class="number">{{chart.currency}}</th><th scope="col" class="number">BTC received</th></tr></thead>
<tbody>
% for bar in chart.days:
<tr><td class="when">{{bar.day}}</td><td class="number">{{"{:,}".format(bar.taking.payments)}}</td><td class="number">{{money(chart.written(bar.taking.amount), chart.currency)}}</td><td class="number">{{bitcoin(bar.taking.received_sats)}}</td></tr>
% end
</tbody>
</table>
</div>
</details>
</section>
% end
