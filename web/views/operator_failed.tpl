% for each in failed:
<div class="failed">
<p><b>{{each.channel.capitalize()}}</b> <span class="code">{{each.endpoint}}</span><br><span class="trouble" dir="auto">{{each.error or "no answer"}}</span> <small>after {{each.attempts}} attempt{{"s" * (each.attempts != 1)}}, {{moment(each.failed_at)}} UTC</small></p>
% if each.is_queued:
<p class="said">The daemon will send it again.</p>
% else:
<form method="post" action="{{root}}operator/payments/{{each.reference}}/events/{{each.event_reference}}/{{each.place}}">
<input type="hidden" name="to" value="{{to}}">
<button>Send again<span class="unseen"> the {{each.channel}} {{each.event_reference}}</span></button>
</form>
% end
</div>
% end
