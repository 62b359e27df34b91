<div class="card share">
<h2>Ask the customer</h2>
<p class="link"><a class="code" href="{{url}}" rel="noreferrer">{{url}}</a></p>
<p class="actions"><button type="button" data-copy="{{url}}" hidden>Copy the link</button>
<button type="button" data-share="{{url}}" data-title="{{what}}" hidden>Share…</button>
<span class="said" role="status"></span></p>
<img class="qr" src="{{picture}}" alt="{{pictured}}" width="240" height="240">
</div>
