% headline = language.say(words + ".headline")
% rebase("layout.tpl", title=headline, script=None, reload="always" if is_passing else None)
<main>
<section class="news over">
<h1>{{headline}}</h1>
<p>{{language.say(words + ".lead")}}</p>
</section>
</main>
