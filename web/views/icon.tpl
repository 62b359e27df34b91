<svg class="icon" viewBox="0 0 24 24" width="28" height="28" aria-hidden="true">
<circle cx="12" cy="12" r="10"/>
% if tone == "good":
<path d="M7.5 12.5l3 3 6-6.5"/>
% elif tone == "waiting":
<path class="hand" d="M12 6.5V12l3.5 2"/>
% elif tone == "over":
<path d="M8 12h8"/>
% else:
<path d="M12 6.8v6.2M12 16.7v.1"/>
% end
</svg>
