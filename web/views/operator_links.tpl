% rebase("operator_layout.tpl", title="Links", page="Links", live=True)
<h1>Payment links</h1>
<p>A link is for an invoice, a donation or a price tag. It has no price. Each press of “Pay” fixes one.</p>
<p class="ways"><a class="button main" href="{{root}}operator/links/new">New link</a></p>
% if links or given:
<section aria-label="Find links">
<details class="find" {{"open" if query else ""}}>
<summary>Find…</summary>
<form class="filters" method="get" action="{{root}}operator/links" role="search">
<label class="wide">Id, title, order or note <input type="search" name="q" value="{{given.get('q', '')}}" maxlength="100"></label>
<label>State <select name="state"><option value="">any</option>
% for state in states:
<option {{"selected" if given.get("state") == state else ""}}>{{state}}</option>
% end
</select></label>
<label>Seller <select name="seller"><option value="">any</option>
% for seller in sellers:
<option {{"selected" if given.get("seller") == seller else ""}}>{{seller}}</option>
% end
</select></label>
<p class="actions"><button class="main">Find</button>
% if query:
<a href="{{root}}operator/links">All links</a>
% end
</p>
</form>
</details>
</section>
% end
<section id="links" data-live aria-label="Links">
% if links:
<div class="scroll" role="region" aria-label="Table of links" tabindex="0">
<table class="links">
<caption class="unseen">Links</caption>
<thead><tr><th scope="col">Title</th><th scope="col">Seller</th><th scope="col" class="number">Amount</th><th scope="col" class="number">Received</th><th scope="col">Status</th><th scope="col">Due</th><th scope="col">Created (UTC)</th></tr></thead>
<tbody>
% for each in links:
<tr id="{{each['link_id']}}">
<td><a href="{{root}}operator/links/{{each['link_id']}}" dir="auto">{{each["title"]}}</a>\\
% if each["order_id"]:
<br><small dir="auto">{{each["order_id"]}}</small>\\
% end
</td>
<td class="seller">{{each["seller_id"]}}</td>
<td class="number" data-label="Amount">{{money(each["amount_fiat"], each["currency"]) if each["amount_fiat"] else "any, in " + each["currency"]}}</td>
<td class="number" data-label="Received">{{money(each["paid_fiat"], each["currency"])}}\\
% if each["payment_count"] > 1 or (each["is_reusable"] and each["payment_count"]):
<br><small>{{"{:,}".format(each["payment_count"])}} payment{{"s" * (each["payment_count"] != 1)}}</small>\\
% end
</td>
<td class="standing"><span class="status {{each['status']}}">{{each["status"]}}</span>\\
% if each["is_reusable"]:
 <small>reusable</small>\\
% end
% if each["late_sats"]:
<br><small class="attention-text">late money under review</small>\\
% end
</td>
<td class="when {{'' if each['due_at'] else 'empty'}}" data-label="Due">{{each["due_at"][:10] if each["due_at"] else "–"}}</td>
<td class="when" data-label="Created">{{each["created_at"][:10]}} {{each["created_at"][11:16]}}</td>
</tr>
% end
</tbody>
</table>
</div>
% else:
<p class="none">{{"No links found." if given else "No link yet."}}</p>
% end
% if total or older_query or not is_first:
<p class="actions">\\
% if older_query:
<a class="button" href="{{root}}operator/links?{{older_query}}" rel="next">Older</a> \\
% end
% if not is_first:
<a href="{{root}}operator/links{{'?' + query if query else ''}}">Newest</a> \\
% end
% if total:
<span class="note">{{total}}</span>\\
% end
</p>
% end
</section>
