% if notice:
<section class="notice" role="status">
<p>{{notice.text}}</p>
% if notice.undo_at:
<form method="post" action="{{root}}operator/undo">
<input type="hidden" name="at" value="{{notice.undo_at}}">
<input type="hidden" name="to" value="{{to}}">
<button>Undo</button>
</form>
% end
</section>
% end
