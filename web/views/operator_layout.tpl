<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{{title}} · Nodetill</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="format-detection" content="telephone=no">
<meta name="robots" content="noindex, nofollow">
<link rel="icon" href="{{root}}static/{{files['mark.svg']}}" type="image/svg+xml">
<link rel="stylesheet" href="{{root}}static/{{files['colours.css']}}">
<link rel="stylesheet" href="{{root}}static/{{files['operator.css']}}">
% if live:
<script src="{{root}}static/{{files['operator.js']}}" defer></script>
<noscript><meta http-equiv="refresh" content="30"></noscript>
% end
% for script in get("scripts", ()):
<script src="{{root}}static/{{files[script]}}" defer></script>
% end
% if get("reload_at_once"):
<meta http-equiv="refresh" content="0">
% end
</head>
<body>
% if get("band"):
<aside class="band">{{band}}</aside>
% end
% if page:
<a class="skip" href="#main">Skip to content</a>
<header>
<nav aria-label="Pages">
% for name, path in (("Payments", ""), ("Links", "operator/links"), ("Money", "operator/money"), ("Sellers", "operator/sellers")):
<a href="{{root + path or './'}}"\\
% if name == page:
 aria-current="page"\\
% end
>{{name}}</a>
% end
</nav>
<form method="post" action="{{root}}operator/logout">
<button>Log out</button>
</form>
</header>
% end
<main id="main" tabindex="-1">
{{!base}}
</main>
% if page:
<footer>
<form method="post" action="{{root}}operator/logout/everywhere">
<button title="End all sessions, in all browsers">Log out everywhere</button>
</form>
</footer>
% end
% if live:
<p id="offline" class="offline" role="status"></p>
% end
</body>
</html>
