% headline = language.say(words + ".headline")
% rebase("layout.tpl", title=headline, scripts=(), reload=None, root=root)
<main>
<section class="news {{'attention' if is_busy else 'over'}}">
<h1>{{headline}}</h1>
<p>{{language.say(words + ".lead")}}</p>
% if is_busy:
<p>{{wait}}</p>
% end
</section>
% if is_busy:
<p class="back"><a class="button quiet" href="{{root}}l/{{link}}?lang={{language.code}}">{{language.say("busy_link.back")}}</a></p>
% end
</main>
