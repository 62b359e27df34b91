% if problems:
<div class="fault">
<h2>Something needs your attention</h2>
<ul>
% for problem in problems:
<li>{{problem}}</li>
% end
</ul>
</div>
% end
% if gaps:
<div class="attention">
<h2>Your wallet program</h2>
<ul>
% for line in gaps:
<li>{{line}}</li>
% end
</ul>
</div>
% end
