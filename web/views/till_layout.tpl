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
<link rel="stylesheet" href="{{root}}static/{{files['till.css']}}">
<script src="{{root}}static/{{files['till.js']}}" defer></script>
% if get("is_polling"):
<noscript><meta http-equiv="refresh" content="3"></noscript>
% end
</head>
<body>
% if get("band"):
<aside class="band">{{band}}</aside>
% end
{{!base}}
<p id="offline" class="offline" role="status"></p>
</body>
</html>
