<section id="list" aria-label="Payments" data-live>
% if need:
<h2>{{need[0]}}</h2>
% if rows:
<p>{{need[1]}}</p>
% end
% end
% if rows:
% include("operator_rows.tpl", caption="List of payments", prefix="", decide=need is not None, to=to)
% elif is_first_day:
% include("operator_first_day.tpl")
% elif need and not filters_beside_need:
<p class="none">Nothing is left to decide here. <a href="{{root or './'}}">To all payments</a></p>
% else:
<p class="none">No payments found.</p>
% end
% if need and rows:
<form class="actions" method="post" action="{{root}}operator/settle">
<input type="hidden" name="needs" value="{{given['needs']}}">
<input type="hidden" name="to" value="{{to}}">
% for row in rows:
<input type="hidden" name="{{row.payment["payment_request_id"]}}" value="{{row.revision}}">
% end
<button>Mark all as done</button>
</form>
% end
% if total or older_query or newer_query:
<p class="actions">\\
% if newer_query:
<a class="button" href="{{root}}?{{newer_query}}" rel="prev">Newer</a> \\
% end
% if older_query:
<a class="button" href="{{root}}?{{older_query}}" rel="next">Older</a> \\
% end
% if newer_query:
<a href="{{root or './'}}{{'?' + query if query else ''}}">Newest</a> \\
% end
% if total:
<span class="note">{{total}}</span>\\
% end
</p>
% end
</section>
