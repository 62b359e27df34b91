% rebase("operator_layout.tpl", title="Log in", page=None, live=False, reload_at_once=reload_at_once)
<form class="card login" method="post" action="{{root}}operator/login">
<h1>Nodetill</h1>
% if fault:
<p class="fault" role="alert">{{fault}}</p>
% end
<input type="hidden" name="to" value="{{to}}">
<input type="text" name="username" value="operator" autocomplete="username" hidden>
<label for="password">Operator password</label>
<input id="password" type="password" name="password" autocomplete="current-password" required autofocus>
<button class="main">Log in</button>
</form>
