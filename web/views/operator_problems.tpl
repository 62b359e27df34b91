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
