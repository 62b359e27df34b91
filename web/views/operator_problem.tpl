% rebase("operator_layout.tpl", title=title, page=None, live=False)
<section class="card login">
<h1>{{title}}</h1>
% for error in errors:
<p><b>{{error["field"]}}</b> {{error["message"]}}</p>
% end
% if not errors:
<p>{{detail[:1].upper()}}{{detail[1:]}}{{"" if detail.endswith(".") else "."}}</p>
% end
<p><a href="{{root or './'}}">Back to payments</a></p>
</section>
