<section id="connect" class="card" aria-labelledby="connect-title">
<h2 id="connect-title">Connect a shop</h2>
<p class="note">Enter the address in the plug-in, and press its button. The button leads to a page on which you approve. A plug-in without a button needs the address, the store id, and a key from the form above.</p>
<dl class="facts">
<div><dt>Address</dt> <dd class="code">{{public_url}}</dd></div>
<div><dt>Store id</dt> <dd class="code">{{seller.id}}</dd></div>
</dl>
</section>
