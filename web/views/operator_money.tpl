% rebase("operator_layout.tpl", title="Money", page="Money", live=False)
<h1>Money received</h1>
<p>Confirmed payments by {{span.unit}} of confirmation (UTC), in the currency and amount of the request.</p>
<nav class="spans" aria-label="Period">
% for each in spans:
<a href="?{{each.query}}"\\
% if each.query == span.query:
 aria-current="true"\\
% end
>{{each.words}}</a>
% end
</nav>
% if not charts:
<p class="none">No payment was confirmed in this period.</p>
% else:
<p class="actions"><a href="money.csv?{{span.query}}" download>Download CSV</a></p>
% end
% for chart in charts:
<section class="card" aria-labelledby="title-{{chart.currency}}">
<h2 id="title-{{chart.currency}}">{{chart.currency}}</h2>
<p class="standing"><b>{{money(chart.written(chart.total.amount), chart.currency)}}</b> <span>{{bitcoin(chart.total.received_sats)}} in {{"{:,}".format(chart.total.payments)}} payment{{"s" * (chart.total.payments != 1)}}</span></p>
<figure>
<figcaption>Best {{span.unit}}: {{money(chart.written(chart.highest), chart.currency)}}</figcaption>
<svg class="chart" viewBox="0 0 {{chart.width}} {{height}}" preserveAspectRatio="none" role="img" aria-label="{{chart.currency}} by {{span.unit}}; the table below has the same figures">
% for bar in chart.bars:
<g><title>{{bar.period}}: {{money(chart.written(bar.taking.amount), chart.currency)}}</title><rect class="ground" x="{{bar.x}}" y="0" width="{{bar_width}}" height="{{height}}"/><rect x="{{bar.x}}" y="{{bar.y}}" width="{{bar_width}}" height="{{bar.height}}"/></g>
% end
</svg>
<p class="row"><span>{{span.periods[0]}}</span> <span>{{span.periods[-1]}}</span></p>
</figure>
% by_period = [(bar.period, bar.taking) for bar in chart.filled]
% for name, head, lines in ((f"By {span.unit}", span.unit.capitalize(), by_period), ("By seller", "Seller", chart.sellers)):
<details>
<summary>{{name}}</summary>
<div class="scroll" role="region" aria-label="{{chart.currency}} {{name.lower()}}, table" tabindex="0">
<table>
<caption class="unseen">{{chart.currency}} {{name.lower()}}</caption>
<thead><tr><th scope="col">{{head}}</th><th scope="col" class="number">Payments</th><th scope="col" class="number">{{chart.currency}}</th><th scope="col" class="number">BTC received</th></tr></thead>
<tbody>
% for label, taking in lines:
<tr><td class="when">{{label}}</td><td class="number">{{"{:,}".format(taking.payments)}}</td><td class="number">{{money(chart.written(taking.amount), chart.currency)}}</td><td class="number">{{bitcoin(taking.received_sats)}}</td></tr>
% end
</tbody>
</table>
</div>
</details>
% end
</section>
% end
