<button id="close" class="close" type="button" aria-label="{{say('action.close')}}" hidden>×</button>
