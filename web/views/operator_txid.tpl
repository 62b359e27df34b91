% if link:
<a href="{{link}}" rel="noreferrer">{{txid[:10]}}…{{txid[-6:]}}</a>\\
% else:
{{txid}}\\
% end
