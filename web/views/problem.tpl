% headline = language.say(words + ".headline")
% rebase("layout.tpl", title=headline, reload="always" if is_passing else None)
<main>
% if is_modal:
% include("close.tpl", say=language.say)
% end
<section class="news over">
<h1>{{headline}}</h1>
<p>{{language.say(words + ".lead")}}</p>
</section>
</main>
