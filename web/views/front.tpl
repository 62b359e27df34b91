% rebase("operator_layout.tpl", title="Nodetill", page=None, live=False)
% if is_setup:
<section class="card login">
<h1>Nodetill runs</h1>
<p>For your page, set <code>OPERATOR_PASSWORD</code> and start the web server again.</p>
<ul>
<li>API: <a href="docs">/docs</a></li>
<li>Health: <a href="health">/health</a></li>
</ul>
</section>
% else:
<section class="card login">
<h1>Payments</h1>
<p>This server takes payments for a shop. To pay, open the link that the shop gave you.</p>
</section>
% if has_login:
<p class="quiet-link"><a href="operator/login">Operator login</a></p>
% end
% end
