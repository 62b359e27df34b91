<!DOCTYPE html>
<html lang="{{language.code}}">
<head>
<meta charset="utf-8">
<title>{{title}}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="format-detection" content="telephone=no">
<meta name="robots" content="noindex, nofollow">
<link rel="icon" href="{{root}}static/{{files['mark.svg']}}" type="image/svg+xml">
<link rel="stylesheet" href="{{root}}static/{{files['colours.css']}}">
<link rel="stylesheet" href="{{root}}static/{{files['checkout.css']}}">
% for script in scripts:
<script src="{{root}}static/{{files[script]}}" defer></script>
% end
% if reload == "always":
<meta http-equiv="refresh" content="{{reload_seconds}}">
% elif reload == "back":
<noscript><meta http-equiv="refresh" content="5; url={{back}}"></noscript>
% elif reload == "without script":
<noscript><meta http-equiv="refresh" content="{{reload_seconds}}"></noscript>
% end
</head>
<body>
% if band:
<aside class="band">{{band}}</aside>
% end
{{!base}}
</body>
</html>
