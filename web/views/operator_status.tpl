<span class="status {{payment['status']}}">{{payment["status"]}}\\
% if payment["status"] == "confirming":
 {{payment["confirmations"]}}/{{payment["confirmations_required"]}}\\
% end
</span>\\
% if payment["late"]:
 <span class="status late">late</span>\\
% end
