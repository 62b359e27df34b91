% rebase("operator_layout.tpl", title=title, page=None, live=False)
<section class="card login">
<h1>{{title}}</h1>
<p>{{detail}}</p>
% for error in errors:
<p><b>{{error["field"]}}</b> {{error["message"]}}</p>
% end
<p><a href="{{root or './'}}">To the payments</a></p>
</section>
